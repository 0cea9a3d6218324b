"""`python -m tocsin.cli` is `tocsin`: how `tocsin dev` starts its children with the interpreter it runs on itself."""

from tocsin.cli import main

raise SystemExit(main())
