//! What the operating system says about a process: memory, processor time, whether it lives.

use std::time::Duration;

use crate::Result;

/// Megabytes, as memory is stated in these tests.
pub const MIB: u64 = 1024 * 1024;

/// The largest resident memory that the process has had, in bytes, since its start or the last
/// [`reset_peak`]. Where the system keeps no peak, what is resident now.
pub fn peak_memory(pid: u32) -> Result<u64> {
    if cfg!(target_os = "linux") {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM line")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        return Ok(kilobytes * 1024);
    }
    let output = std::process::Command::new("ps").args(["-o", "rss=", "-p", &pid.to_string()]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse::<u64>()? * 1024)
}

/// Lets the peak start again from what is resident now.
pub fn reset_peak(pid: u32) -> Result {
    if cfg!(target_os = "linux") {
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    }
    Ok(())
}

/// Processor time that the process has used since its start, all threads together.
pub fn processor_time(pid: u32) -> Result<Duration> {
    if !cfg!(target_os = "linux") {
        return ps_processor_time(pid);
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command in parentheses may hold spaces; fields 14 and 15 of the whole line are user and
    // system time in ticks of 10 ms.
    let after = stat.rsplit_once(')').ok_or("no command in stat")?.1;
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// `ps` writes `[hours:]minutes:seconds.hundredths`.
fn ps_processor_time(pid: u32) -> Result<Duration> {
    let output = std::process::Command::new("ps").args(["-o", "time=", "-p", &pid.to_string()]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let parts: Vec<f64> = text.trim().split(':').map(str::parse).collect::<std::result::Result<_, _>>()?;
    Ok(Duration::from_secs_f64(parts.into_iter().fold(0.0, |sum, part| sum * 60.0 + part)))
}

/// Lets the tests themselves have so many files and sockets open at a time.
pub fn allow_open_files(count: u64) -> Result {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if hard < count {
        return Err(format!("this test needs {count} open files, {hard} are allowed: raise `ulimit -Hn`").into());
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.max(count), hard)?)
}

/// Sends a signal to the process.
pub fn signal(pid: u32, signal: &str) -> Result {
    let status = std::process::Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status()?;
    if status.success() { Ok(()) } else { Err(format!("kill -{signal} {pid} failed").into()) }
}
