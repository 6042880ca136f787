"For the whole test run, before anything imports torch."

import os

# One thread in each worker and in all that it starts: threads of two workers on two cores mostly wait for each other,
# and that waiting is no rest: it takes several times the processor time of the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
