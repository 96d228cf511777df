"""Real libvirt/QEMU hosts on one machine: each in namespaces of its own, with its own sshd, libvirtd, ``/etc``, logs and local storage.

    make lab                     three hosts that stay; prints how to reach them
    python -m tests.lab off 2    pull the plug of one; `python -m tests.lab -h` lists the rest
    make lab-stop                end them, and remove every trace

Tests ask for the fixture ``lab`` (`fixtures`). Any number of labs can stand side by side: each claims a number, from which come the
names of its interfaces and its network ``10.77.N.0/24``. Guests are emulated (TCG): KVM is not chosen because ``/dev/kvm`` exists.
"""
