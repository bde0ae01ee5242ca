# SPDX-License-Identifier: Apache-2.0
"""CPython's `python3 -m test`, with a record of each case: regrtest.py RECORDS ARGUMENT... Not imported by tests.

A line of RECORDS is written as it happens, so that a run which hangs or dies has named its case: "start ID", then
"pass ID", "skip ID<tab>REASON" or "fail ID<tab>LAST LINE", then "stop ID".
"""
import os
import sys

sys.path[0] = os.getcwd()  # as -m has it, not this file's folder

from test.libregrtest import main
from test.support import testresult

records = open(sys.argv[1], "w", buffering=1, encoding="utf-8")  # for as long as the process lives
Result = testresult.RegressionTestResult


def write(word, test, text=""):
    lines = str(text).strip().splitlines() or [""]
    records.write(f"{word} {test.id()}\t{lines[-1]}\n")


def recorded(word, name, says):
    """Result's method of that name, which first writes a record with what `says` makes of its arguments."""
    wrapped = getattr(Result, name)

    def method(self, test, *more):
        write(word, test, says(*more))
        return wrapped(self, test, *more)
    setattr(Result, name, method)


def error(err, *_):
    return f"{err[0].__name__}: {err[1]}".replace("\n", " ")


def sub_test(self, test, sub, err):
    if err is not None:
        write("fail", test, error(err))
    return add_sub_test(self, test, sub, err)


add_sub_test, Result.addSubTest = Result.addSubTest, sub_test
recorded("start", "startTest", lambda: "")
recorded("stop", "stopTest", lambda: "")
recorded("pass", "addSuccess", lambda: "")
recorded("pass", "addExpectedFailure", error)
recorded("fail", "addUnexpectedSuccess", lambda: "unexpected success")
recorded("skip", "addSkip", str)
recorded("fail", "addFailure", error)
recorded("fail", "addError", error)

del sys.argv[1]
main()
