"""What is touched: widgets and magics."""
