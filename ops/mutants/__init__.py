"""Mutation testing by sample: how many of N small faults in serve and controlnet a selection of tests notices.

Own code, since mutmut 3 neither samples nor mutates decorated functions and what is outside functions (routes,
properties, tables, defaults), and cosmic-ray mutates in place, runs one command for every mutant, and knows no strings,
returns or statements. Coverage.py says which tests a mutant needs.
"""
