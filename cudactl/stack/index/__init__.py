"""What there is: signed apt indexes and wheel indexes, fetched and verified."""
