"""The rules that come with ordergate: one module, one entry point and one settings class each."""
