#!/bin/sh
# usage: install.sh ENVIRONMENT DESTDIR PREFIX
#
# The last step of `make install`: puts the virtual environment ENVIRONMENT, made in the build
# folder, at its place, and the commands and systemd's files around it.
set -eu

environment=$1 destdir=$2 prefix=$3
here=$(dirname "$0")
home=$prefix/lib/longshore
etc=$destdir/etc/longshore

# The environment was made elsewhere: its scripts have to name the place where they will be.
find "$environment/bin" -type f -exec sed -i "1s|^#!$environment/|#!$home/|" {} +
sed -i "s|$environment|$home|g" "$environment/pyvenv.cfg"
rm -f "$environment"/bin/activate* "$environment"/bin/Activate*
find "$environment" -name direct_url.json -delete # says where the wheel was built
"$environment/bin/python" -m compileall -q -s "$environment" -p "$home" "$environment/lib"
# Beside the old one and then swapped: an agent that runs meanwhile keeps finding its modules.
install -d "$destdir$prefix/lib" "$destdir$prefix/bin"
rm -rf "$destdir$home.new" "$destdir$home.old"
cp -a "$environment" "$destdir$home.new"
if [ -e "$destdir$home" ]; then mv "$destdir$home" "$destdir$home.old"; fi
mv "$destdir$home.new" "$destdir$home"
rm -rf "$destdir$home.old"
for command in longshore-agent longshore; do
    ln -sfn "../lib/longshore/bin/$command" "$destdir$prefix/bin/$command"
done

put() { # SOURCE TARGET
    install -d "$(dirname "$destdir$2")"
    sed "s|/usr/bin/longshore|$prefix/bin/longshore|; s|/usr/share/|$prefix/share/|" "$here/$1" >"$destdir$2"
    chmod 644 "$destdir$2"
}
put longshore-agent.service "$prefix/lib/systemd/system/longshore-agent.service"
put longshore.slice "$prefix/lib/systemd/system/longshore.slice"
put longshore.sysusers "$prefix/lib/sysusers.d/longshore.conf"
put longshore.tmpfiles "$prefix/lib/tmpfiles.d/longshore.conf"
put README.md "$prefix/share/doc/longshore/README.md"
# Before the folder gets its mode: `put` gives it that of any other.
put flavors.toml.sample /etc/longshore/flavors.toml.sample

# The operator's own longshore.conf is never touched; the sample beside it is the new release's.
# 0750, because it holds the message queue's password.
install -d -m 0750 "$etc"
"$environment/bin/python" "$environment/bin/longshore-agent" --print-config-sample >"$etc/longshore.conf.sample"
