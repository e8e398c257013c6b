"""The book as a static site: its pages, and controls that move without a kernel."""
