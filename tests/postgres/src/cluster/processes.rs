//! The processes of a server, by the folder that they work in.

use std::path::Path;

use rustix::process::Pid;

/// Those that work in a folder or below it.
pub(crate) fn processes_in(folder: &Path) -> Vec<Pid> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let works_there = |pid: &Pid| {
        let works_in = std::fs::read_link(format!("/proc/{}/cwd", pid.as_raw_pid()));
        works_in.is_ok_and(|path| path.starts_with(folder))
    };
    let number = |name: &str| Pid::from_raw(name.parse().ok()?);
    let pids = all.filter_map(|it| number(it.file_name().to_str()?));
    pids.filter(works_there).collect()
}

/// Whether a process was stopped; true of one that has ended.
pub(super) fn stands_still(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid()));
    let stat = stat.unwrap_or_default();
    // The state stands behind the name, which may have anything in it.
    stat.rsplit_once(") ")
        .is_none_or(|(_, state)| !state.starts_with(['R', 'S', 'D']))
}
