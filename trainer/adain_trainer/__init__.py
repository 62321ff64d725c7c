"""Training recipes over adain_net."""
