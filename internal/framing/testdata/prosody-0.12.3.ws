<open version='1.0' xml:lang='en' id='246daeb8-f60e-4b1c-822e-710330d70113' xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='localhost'/>
<stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>ANONYMOUS</mechanism></mechanisms></stream:features>
<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><invalid-mechanism/></failure>
<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
<open version='1.0' xml:lang='en' id='fbee27c0-ffca-442c-bc77-69b27e21f7dc' xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='localhost'/>
<stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><ver xmlns='urn:xmpp:features:rosterver'/><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><required/></bind><session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session><sm xmlns='urn:xmpp:sm:2'><optional/></sm><sm xmlns='urn:xmpp:sm:3'><optional/></sm><c hash='sha-1' node='http://prosody.im' ver='K6O9YjVxE0PL/XlyRItxqIkjKhA=' xmlns='http://jabber.org/protocol/caps'/><sub xmlns='urn:xmpp:features:pre-approval'/></stream:features>
<iq type='result' xmlns='jabber:client' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>bmfmckezjicutog-semd-owy@localhost/r</jid></bind></iq>
<presence from='bmfmckezjicutog-semd-owy@localhost/r' xmlns='jabber:client' xml:lang='en'/>
<iq xmlns='jabber:client' to='bmfmckezjicutog-semd-owy@localhost/r' id='d' type='result' from='localhost'><query xmlns='http://jabber.org/protocol/disco#info'><identity category='server' name='Prosody' type='im'/><feature var='msgoffline'/><feature var='http://jabber.org/protocol/disco#info'/><feature var='http://jabber.org/protocol/disco#items'/><feature var='jabber:iq:roster'/><feature var='urn:xmpp:ping'/><feature var='urn:xmpp:time'/><feature var='jabber:iq:time'/><feature var='jabber:iq:version'/></query></iq>
<iq xmlns='jabber:client' to='bmfmckezjicutog-semd-owy@localhost/r' id='e' type='error' from='localhost'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>
<stream:error xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><unsupported-stanza-type xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>
<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>
