//! The smallest application, sidecar and capture step: compiled by the tests with plain rustc, static, FROM scratch.
//! `capture` ends at once; `fail` ends with 3 and a last word; `listen PORT` listens; all else sleeps. SIGTERM ends it.

unsafe extern "C" {
    fn signal(signal: i32, handler: usize) -> usize;
    fn _exit(code: i32) -> !;
}

extern "C" fn end(_signal: i32) {
    unsafe { _exit(0) }
}

fn main() {
    for number in [15, 2] {
        unsafe { signal(number, end as *const () as usize) };
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let _listener = match arguments.as_slice() {
        ["capture"] => return,
        ["fail"] => {
            eprintln!("a last word");
            std::process::exit(3);
        }
        ["listen", port] => Some(std::net::TcpListener::bind(("::", port.parse().unwrap())).unwrap()),
        _ => None,
    };
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}
