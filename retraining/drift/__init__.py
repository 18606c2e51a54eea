"""Has the data moved away from what the champion was trained on? Pure: no Prefect, no MLflow, no SQL.

`build_profile` (profile.py) summarises the reference once; `scan_window` (scan.py) counts a current window
against that summary in one pass; `check_drift` (verdict.py) compares the two and says why.
"""
