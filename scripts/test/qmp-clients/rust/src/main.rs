//! A client of QMP with the types that the crate qapi makes from QEMU's schema. Prints what it got as JSON.

use std::os::unix::net::UnixStream;
use std::{env, error::Error, thread, time::Duration};

use qapi::{ExecuteError, Qmp, qmp};
use serde_json::{json, to_value};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("no socket is named")?;
    let socket = UnixStream::connect(path)?;
    let mut client = Qmp::from_stream(&socket);
    let greeting = client.handshake()?;
    let query = qmp::query_dirty_rate { calc_time_unit: None };
    let calc = |calc_time| qmp::calc_dirty_rate {
        calc_time,
        calc_time_unit: Some(qmp::TimeUnit::millisecond),
        mode: Some(qmp::DirtyRateMeasureMode::dirty_bitmap),
        sample_pages: None,
    };
    let before = client.execute(&query)?;
    let status = client.execute(&qmp::query_status {})?;
    let commands = client.execute(&qmp::query_commands {})?;
    let schema = client.execute(&qmp::query_qmp_schema {})?;
    let version = client.execute(&qmp::query_version {})?;
    assert_eq!(greeting.version.package, version.package);
    client.execute(&calc(200))?;
    let measured = loop {
        let info = client.execute(&query)?;
        if matches!(info.status, qmp::DirtyRateStatus::measured) {
            break info;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let refusal = match client.execute(&calc(0)) {
        Err(ExecuteError::Qapi(error)) => error.desc,
        other => return Err(format!("not refused: {other:?}").into()),
    };
    let hmp = client.execute(&qmp::human_monitor_command {
        command_line: "info dirty_rate".into(),
        cpu_index: Some(0),
    })?;
    println!(
        "{}",
        json!({
            "version": version.package,
            "before": to_value(before)?,
            "status": to_value(status)?,
            "commands": to_value(commands)?,
            "schema": schema.len(),
            "measured": to_value(measured)?,
            "refusal": refusal,
            "hmp": hmp,
        })
    );
    Ok(())
}
