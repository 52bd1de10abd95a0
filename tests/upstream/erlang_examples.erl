%% What docs/erlang.md shows, line for line. documents_test.cpp evaluates each expression at an Erlang node beside the C++ node
%% 'c1@127.0.0.1', which has the server and the function of that page, and compares with what stands behind %=>.

barrel_p2p:join('c1@127.0.0.1').
%=> ok
barrel_p2p:active_view().
%=> ['c1@127.0.0.1']

gen_server:cast({counter, 'c1@127.0.0.1'}, 42).
%=> ok
gen_server:call({counter, 'c1@127.0.0.1'}, get).
%=> 42
rpc:call('c1@127.0.0.1', shop, add, [1, 2]).
%=> 3

{ok, _Node, Counter} = barrel_p2p:whereis_service(counter), gen_server:call(Counter, get).
%=> 42
barrel_p2p:register_service(desk, self(), #{cores => 8}).
%=> ok
rpc:call('c1@127.0.0.1', barrel_p2p, list_services, []).
%=> [counter,desk]

barrel_p2p:map_put(settings, limit, 100).
%=> ok
rpc:call('c1@127.0.0.1', barrel_p2p, map_get, [settings, limit]).
%=> {ok,100}

barrel_p2p:place({user, 7}) =:= rpc:call('c1@127.0.0.1', barrel_p2p, place, [{user, 7}]).
%=> true
