"""In which states can a thing be, and what moves it on? State machines: declared, compiled, advanced, drawn."""
