# sys.exit(3) runs what is registered, flushes, and ends with status 3, though a daemon thread still runs.
# exit: 3
import atexit
import sys
import threading
import time

atexit.register(print, "atexit")
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("leaving")
sys.exit(3)
