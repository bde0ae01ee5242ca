-- SPDX-License-Identifier: Apache-2.0
-- Prints what wrk measured as one line for bench/cases.py; times in microseconds.
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("mwbench %d %d %d %d %d %d %d %.0f %.0f\n", summary.requests, summary.duration,
        e.connect, e.read, e.write, e.status, e.timeout, latency:percentile(50), latency:percentile(99)))
end
