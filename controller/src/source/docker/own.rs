//! Which container this process runs in.

use std::fs;

/// The id of the own container, from the mounts that the engine makes for it, which name it whatever the
/// control groups look like; else from the control group. None outside a container.
pub fn container_id() -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    from_mounts(&mounts).or_else(|| from_groups(&groups))
}

/// `… /var/lib/docker/containers/<id>/hostname /etc/hostname …`.
fn from_mounts(mounts: &str) -> Option<String> {
    let ours = mounts.lines().filter(|line| {
        matches!(line.split(' ').nth(4), Some("/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf"))
    });
    ours.filter_map(|line| line.split(' ').nth(3)).find_map(|root| root.split('/').find_map(id))
}

/// `…:/docker/<id>` or `…/docker-<id>.scope`.
fn from_groups(groups: &str) -> Option<String> {
    groups.lines().filter_map(|line| line.rsplit('/').next()).find_map(|last| {
        id(last.strip_prefix("docker-").unwrap_or(last).strip_suffix(".scope").unwrap_or(last))
    })
}

fn id(text: &str) -> Option<String> {
    (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn the_mounts_of_the_engine_name_the_container() {
        let mounts = format!(
            "610 600 0:50 / / rw - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/AB\n\
             620 610 254:0 /var/lib/docker/volumes/x/_data /run/outrigger rw - ext4 /dev/vda rw\n\
             621 610 254:0 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/vda rw\n"
        );
        assert_eq!(from_mounts(&mounts).as_deref(), Some(ID));
        assert_eq!(from_mounts("21 1 254:0 / / rw - ext4 /dev/vda rw\n"), None);
    }

    #[test]
    fn so_does_the_control_group() {
        assert_eq!(from_groups(&format!("12:pids:/docker/{ID}\n0::/docker/{ID}\n")).as_deref(), Some(ID));
        assert_eq!(from_groups(&format!("0::/system.slice/docker-{ID}.scope\n")).as_deref(), Some(ID));
        assert_eq!(from_groups("0::/\n"), None);
    }
}
