-- Look-ups of many rows are written with OFFSET 0: each is then looked up by itself, through an
-- index. Joined in one piece, ten thousand names or two hundred directories would look to the
-- planner like a large part of the table, and it would read all of it.

-- name: look_up
-- What the index knows of each name. A directory may have no row of its own: it is then known by
-- what is inside. Only of what is not known so are those that differ in case or Unicode form looked
-- for, a row each; a hundred of them are as good as all. '0' follows '/': the range holds what is
-- below the directory, whatever its name contains.
SELECT listed.path,
       alike.path AS other,
       coalesce(f.is_directory, alike.is_directory, inside.has_rows) AS is_directory,
       coalesce(f.size, alike.size) AS size,
       f.path IS NOT NULL OR inside.has_rows IS TRUE AS is_exact
FROM unnest(%(paths)s::text[]) AS listed (path)
LEFT JOIN LATERAL (
    SELECT path, size, is_directory FROM files WHERE path = listed.path OFFSET 0
) AS f ON true
LEFT JOIN LATERAL (
    SELECT EXISTS (SELECT FROM files
                   WHERE path ~>=~ (listed.path || '/') AND path ~<~ (listed.path || '0')
                   OFFSET 0) AS has_rows
    WHERE f.path IS NULL
    OFFSET 0
) AS inside ON true
LEFT JOIN LATERAL (
    SELECT path, size, is_directory FROM files
    WHERE NOT inside.has_rows
      AND hashtextextended(teamcache_gateway.folded(path) COLLATE "C", 0)
          = hashtextextended(teamcache_gateway.folded(listed.path) COLLATE "C", 0)
      AND teamcache_gateway.folded(path) COLLATE "C"
          = teamcache_gateway.folded(listed.path) COLLATE "C"
    LIMIT 100
    OFFSET 0
) AS alike ON true

-- name: without_files
-- The directories in which the index knows no file, or none directly unless recursive.
SELECT listed.path
FROM unnest(%(paths)s::text[]) AS listed (path)
WHERE NOT CASE WHEN %(recursive)s
               THEN EXISTS (SELECT FROM files inside
                            WHERE inside.path ~>=~ (listed.path || '/')
                              AND inside.path ~<~ (listed.path || '0')
                              AND inside.is_directory IS NOT TRUE)
               ELSE EXISTS (SELECT FROM files inside
                            WHERE inside.parent_path = listed.path
                              AND inside.is_directory IS NOT TRUE
                            OFFSET 0)
          END
