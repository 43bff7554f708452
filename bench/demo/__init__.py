"""`make demo`: the main job on real neighbours, shown and checked step by step.

`python -m bench.demo [--keep | --stop] [--no-goal]`. What it shows is story.py; where it
plays, and how all of it is taken away again, is stage.py.
"""
