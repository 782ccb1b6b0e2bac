#!/usr/bin/env bash
# A stand-in for AWS's base image, made of this machine's own files, for `make invoke` where no image registry can be
# reached (infra/SAM_LOCAL.md): busybox, the C and C++ libraries, certificates. With a registry you do not need it.
# Functions in it talk to the local AWS of `make up`: `sam local invoke` passes only variables that the template declares,
# and the template declares no endpoint.
set -euo pipefail
tag=public.ecr.aws/lambda/provided:al2023-x86_64
busybox=$(command -v busybox) || { echo 'error: `busybox` is missing; Debian and Ubuntu: apt-get install busybox-static' >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

mkdir -p "$folder"/{bin,dev,etc/ssl/certs,lib64,opt,proc,sys,tmp,var/task,var/runtime}
chmod 1777 "$folder/tmp"
cp "$busybox" "$folder/bin/busybox"
for applet in sh mv chmod cp rm cat ls env; do ln -s busybox "$folder/bin/$applet"; done
for library in ld-linux-x86-64.so.2 libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libresolv.so.2 \
  libnss_dns.so.2 libnss_files.so.2 libgcc_s.so.1 libstdc++.so.6; do
  path=$(ldconfig -p | awk -v name="$library" '$1 == name && /x86-64/ { print $NF; exit }')
  cp --dereference "$path" "$folder/lib64/$library"
done
ln -s lib64 "$folder/lib"
echo 'root:x:0:0::/:/bin/sh' >"$folder/etc/passwd"
echo 'hosts: files dns' >"$folder/etc/nsswitch.conf"
cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"

tar --create --directory "$folder" . | docker import \
  --change 'WORKDIR /var/task' \
  --change 'ENV PATH=/bin LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime LD_LIBRARY_PATH=/lib64:/var/task:/opt/lib' \
  --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt AWS_ENDPOINT_URL=http://local-aws:4566' \
  --change 'ENTRYPOINT ["/var/rapid/aws-lambda-rie"]' - "$tag"
echo "made $tag"
