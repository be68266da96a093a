# Process ids of another namespace: strace has both.
unshare -p -f sh -c '(:); (:)'
