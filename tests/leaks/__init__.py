"""Nothing secret is ever logged: every record that the package makes while the tests run is looked through."""
