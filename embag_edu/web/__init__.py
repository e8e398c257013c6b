"""The book as web pages: copies, made pages, proof; and controls that move without a kernel."""
