"""`python -m geotrans` is `geotrans`."""

from geotrans.cli.main import main

main()
