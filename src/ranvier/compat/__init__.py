"""The names and signatures of other libraries, one thin adapter each."""
