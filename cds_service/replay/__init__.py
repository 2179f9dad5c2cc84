"""Hook requests and bundles from files through the same path as HTTP."""
