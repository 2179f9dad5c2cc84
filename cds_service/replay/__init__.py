"""Hook requests and charts from files through the same path as HTTP: replay, backtests, synthetic charts."""
