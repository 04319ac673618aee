//! The smallest application, sidecar and capture step: compiled by the tests with plain rustc, static, FROM scratch.
//! `capture` ends at once; `fail` ends with 3 and a last word; `deaf` takes no notice of SIGTERM, which ends all others;
//! they sleep.

unsafe extern "C" {
    fn signal(signal: i32, handler: usize) -> usize;
    fn _exit(code: i32) -> !;
}

extern "C" fn end(_signal: i32) {
    unsafe { _exit(0) }
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("capture") => return,
        Some("fail") => {
            eprintln!("a last word");
            std::process::exit(3);
        }
        Some("deaf") => {}
        _ => {
            for number in [15, 2] {
                unsafe { signal(number, end as *const () as usize) };
            }
        }
    }
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}
