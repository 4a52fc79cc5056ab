# An exception that nobody catches: traceback on standard error, status 1.
# exit: 1
def inner(x):
    return 1 // x


def outer():
    try:
        inner(0)
    except ZeroDivisionError as error:
        raise ValueError("outer") from error


print("before", flush=True)
outer()
