"""`python -m geotrans` is `geotrans`."""

from geotrans.cli.start import main

main()
