# Scripts of scripts, one without #!, one that is gone and one that is another when the trace is read.
cat >inner <<'!'
#!/bin/sh
:
!
cat >outer <<'!'
#! ./inner arg
!
echo : >plain
cp inner gone
cp inner changed
chmod +x inner outer plain gone changed
./outer
./plain
./gone
./changed
/proc/self/exe -c :
rm gone
echo '#!/bin/false' >changed
