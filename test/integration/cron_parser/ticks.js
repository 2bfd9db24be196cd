// Reads cases, one per line: expression, zone, time (seconds since 1970) and number, separated by tabs. Prints for each
// the next ticks after the time as "seconds/offset": since 1970, and of the zone from UTC. Where cron-parser gives up,
// the line ends with what it says.
const fs = require("node:fs");
const { CronExpressionParser } = require("cron-parser");
const { DateTime } = require("luxon");

for (const line of fs.readFileSync(process.argv[2], "utf8").trimEnd().split("\n")) {
    const [expression, zone, after, count] = line.split("\t");
    const ticks = [];
    try {
        const schedule = CronExpressionParser.parse(expression, { currentDate: new Date(after * 1000), tz: zone });
        while (ticks.length < count) {
            const time = schedule.next().getTime();
            ticks.push(`${time / 1000}/${DateTime.fromMillis(time, { zone }).offset * 60}`);
        }
    } catch (error) {
        ticks.push("! " + error.message);
    }
    console.log(ticks.join(" "));
}
