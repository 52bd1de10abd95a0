# What docs/erlang.md shows of Elixir, line for line. documents_test.cpp evaluates each line at an Erlang node that has Elixir on
# its code path, beside the C++ node c1@127.0.0.1 of that page.

# Each line is a match: one that does not hold raises.
:ok = :barrel_p2p.join(:"c1@127.0.0.1")
:ok = GenServer.cast({:counter, :"c1@127.0.0.1"}, 42)
42 = GenServer.call({:counter, :"c1@127.0.0.1"}, :get)
3 = :rpc.call(:"c1@127.0.0.1", :shop, :add, [1, 2])
{:ok, _node, pid} = :barrel_p2p.whereis_service(:counter); 42 = GenServer.call(pid, :get)
:ok = :barrel_p2p.register_service(:desk, self(), %{cores: 8})
{:ok, _} = :barrel_p2p.new_map(:settings, %{})
:ok = :barrel_p2p.map_put(:settings, :limit, 100)
{:ok, 100} = :rpc.call(:"c1@127.0.0.1", :barrel_p2p, :map_get, [:settings, :limit])
