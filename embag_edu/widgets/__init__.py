"""The controls of the book: sliders and buttons beside a picture. One file for each chapter.

They need ipywidgets and matplotlib, and a running kernel; each chapter shows a still picture too.
"""
