# The shell stays process 1, since the kernel does not let a signal end a process 1 that does not handle it.
busybox mkdir -p /www
echo "version $VERSION" >/www/index.html
busybox httpd -f -p 8080 -h /www &
trap 'busybox kill $!; exit 0' TERM INT
wait
