"""The names and signatures of other libraries, so that people move by changing one import. No maths lives here."""
