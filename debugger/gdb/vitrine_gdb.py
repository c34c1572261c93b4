"""The gdb host of Vitrine: registers the commands of libvitrine_inspect.so in gdb."""
