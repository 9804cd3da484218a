"""A client of QMP with the library qemu.qmp. Prints what it got as JSON."""

import asyncio
import json
import sys

from qemu.qmp import ExecuteError, QMPClient

CALC = {"calc-time": 200, "calc-time-unit": "millisecond", "mode": "dirty-bitmap"}


async def main(path):
    client = QMPClient("test")
    await client.connect(path)
    got = {"version": client.greeting.QMP.version["package"]}
    got["before"] = await client.execute("query-dirty-rate")
    got["status"] = await client.execute("query-status")
    got["commands"] = await client.execute("query-commands")
    await client.execute("calc-dirty-rate", CALC)
    got["measured"] = await client.execute("query-dirty-rate")
    while got["measured"]["status"] != "measured":
        await asyncio.sleep(0.02)
        got["measured"] = await client.execute("query-dirty-rate")
    try:
        await client.execute("calc-dirty-rate", {"calc-time": 0})
    except ExecuteError as error:
        got["refusal"] = str(error)
    hmp = {"command-line": "info dirty_rate"}
    got["hmp"] = await client.execute("human-monitor-command", hmp)
    # Many at once: the library tells the answers apart by their ids.
    many = [client.execute("query-status") for _ in range(100)]
    got["many"] = len([one for one in await asyncio.gather(*many) if one == got["status"]])
    with client.listener(("STOP", "RESUME")) as events:
        await client.execute("stop")
        await client.execute("cont")
        got["events"] = [(await events.get())["event"] for _ in range(2)]
    await client.disconnect()
    print(json.dumps(got))


asyncio.run(main(sys.argv[1]))
