"""Live kernels and the web server of the book; it never imports what the kernels import.

`python -m kernel_service --site build/html` serves the pages and forks a kernel for each reader who runs a cell. The
package offers that command, and a provisioner that other Jupyter servers may name; there is nothing to import.
"""

__all__: list[str] = []
