"""How a version becomes what people install: wheel, sdist, an archive for each platform, and Krew's manifest."""
