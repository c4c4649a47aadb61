"""Files made from the code and committed; a test fails when they are not current."""
