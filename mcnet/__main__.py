"`python -m mcnet` is the command `mcnet`."

from mcnet.cli.main import main

main()
