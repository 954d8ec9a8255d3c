"""Jobs in processes of their own, some of them with a lab: tests, and rows of faults.

``workers`` hands out jobs and knows nothing of tests; ``trial`` is the job that runs some of them;
``plan`` says which jobs there are; ``told`` is what is printed.
"""
