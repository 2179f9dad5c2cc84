"""HTTP edge: app factory, discovery, invoke, feedback, problems, health and the pages for people."""
