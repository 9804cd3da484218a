//! The CPU time of a process.

use std::time::Duration;

use dirtyrate::Error;

/// No process of Linux has a larger number (PID_MAX_LIMIT).
const MOST_PID: u32 = 4 << 20;

/// The CPU time of all threads of process `pid`, including those that have ended, to the nanosecond. The figures in
/// `/proc/PID/stat` are in hundredths of a second, so that a measurement of some milliseconds is lost in them.
///
/// # Errors
///
/// [`Error::Argument`] if there is no such process.
pub fn process_cpu_time(pid: u32) -> dirtyrate::Result<Duration> {
    let absent = || Error::Argument(format!("there is no process {pid}"));
    // The kernel takes 0 for the process that calls. The number of a clock has no room for a larger pid, so that the
    // clock would be the clock of another process.
    if !(1..=MOST_PID).contains(&pid) {
        return Err(absent());
    }
    let id = pid as libc::pid_t;
    let mut clock = 0;
    // SAFETY: the call writes a clock id where `clock` is, and does not keep the pointer.
    if unsafe { libc::clock_getcpuclockid(id, &mut clock) } != 0 {
        return Err(absent());
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes a time where `time` is, and does not keep the pointer.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(absent());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_this_process_is_what_the_kernel_gives_for_itself() {
        let own = || {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: the call writes a time where `time` is.
            assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) }, 0);
            Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
        };
        let before = own();
        let time = process_cpu_time(std::process::id()).unwrap();
        assert!(before <= time && time <= own());
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(process_cpu_time(u32::MAX).is_err());
        assert!(process_cpu_time(i32::MAX as u32).is_err());
        assert!(process_cpu_time(0).is_err());
        assert!(process_cpu_time(MOST_PID).is_err());
    }
}
