"""Cassettes: recorded exchanges as a folder that people can read, edit and keep beside a notebook."""
