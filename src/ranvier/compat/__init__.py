"""The published names and signatures of other libraries, so that people move by changing one import.

Adapters only: axis order, defaults, hidden state where the other library has it. The maths lives in `ranvier.nn` and
its neighbours.
"""
