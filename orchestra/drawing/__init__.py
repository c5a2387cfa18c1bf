"""How does a picture become Mermaid, DOT or SVG?"""
