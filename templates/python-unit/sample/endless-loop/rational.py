"""Never ends to be imported: no test has begun, so no test's time limit helps."""

while True:
    try:
        while True:
            pass
    except BaseException:
        pass
